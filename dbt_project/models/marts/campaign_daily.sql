{#- Gross and net of invalid traffic side by side: each figure is written once, for both suffixes. -#}
{%- set models = var('attribution_models') -%}
{%- set traffics = {'': 'true', '_net': 'ivt_reason is null'} -%}
{%- set credited_in = {
    '': "traffic = 'gross'", '_net': "traffic = 'net' and conversion_ivt_reason is null",
} -%}

with impressions as (
    select * from {{ lake_days(ref('impressions'), before=1, after=1) }}
),

clicks as (
    select * from {{ lake_days(ref('clicks'), before=1, after=1) }}
),

credits as (
    select * from {{ lake_days(ref('credits'), before=1, after=1) }}
),

campaigns as (
    select * from {{ lake_all(ref('campaigns')) }}
),

advertisers as (
    select * from {{ lake_all(ref('advertisers')) }}
),

shown as (
    select
        report_date,
        {%- for suffix, included in traffics.items() %}
        {{ count_where(included) }} as impressions{{ suffix }},
        {{ count_where('viewable and ' ~ included) }} as viewable{{ suffix }},
        {{ micros_of_cpm("case when " ~ included ~ " then price_micros end") }} as spend{{ suffix }},
        {%- endfor %}
        {{ known_campaign('campaign_id') }} as campaign_id,
        max(advertiser_id) as advertiser_id,
        max(currency) as currency
    from impressions
    group by report_date, {{ known_campaign('campaign_id') }}
),

clicked as (
    select
        report_date,
        {%- for suffix, included in traffics.items() %}
        {{ count_where(included) }} as clicks{{ suffix }},
        coalesce(sum(case when {{ included }} then price_micros end), 0) as spend{{ suffix }},
        {%- endfor %}
        {{ known_campaign('campaign_id') }} as campaign_id,
        max(advertiser_id) as advertiser_id,
        max(currency) as currency
    from clicks
    group by report_date, {{ known_campaign('campaign_id') }}
),

converted as (
    select
        report_date,
        campaign_id,
        {%- for model in models %}
        {%- for suffix, credited in credited_in.items() %}
        {%- set earned = "model = '" ~ model ~ "' and " ~ credited %}
        sum(case when {{ earned }} then credit_billionths else 0 end) as credits_{{ model }}{{ suffix }},
        sum(case when {{ earned }} then revenue_micros else 0 end) as revenue_{{ model }}{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        max(advertiser_id) as advertiser_id,
        max(currency) as currency
    from credits
    where campaign_id is not null
    group by report_date, campaign_id
),

campaign_days as (
    select
        report_date,
        campaign_id
    from shown
    union
    select
        report_date,
        campaign_id
    from clicked
    union
    select
        report_date,
        campaign_id
    from converted
),

figures as (
    select
        campaign_days.report_date,
        campaign_days.campaign_id,
        {%- for suffix in traffics %}
        coalesce(shown.impressions{{ suffix }}, 0) as impressions{{ suffix }},
        coalesce(shown.viewable{{ suffix }}, 0) as viewable{{ suffix }},
        coalesce(clicked.clicks{{ suffix }}, 0) as clicks{{ suffix }},
        coalesce(shown.spend{{ suffix }}, 0) + coalesce(clicked.spend{{ suffix }}, 0) as spend{{ suffix }},
        {%- for model in models %}
        coalesce(converted.credits_{{ model }}{{ suffix }}, 0) as credits_{{ model }}{{ suffix }},
        coalesce(converted.revenue_{{ model }}{{ suffix }}, 0) as revenue_{{ model }}{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        coalesce(shown.advertiser_id, clicked.advertiser_id, converted.advertiser_id) as advertiser_id,
        coalesce(shown.currency, clicked.currency, converted.currency) as currency
    from campaign_days
    left join shown
        on campaign_days.report_date = shown.report_date and campaign_days.campaign_id = shown.campaign_id
    left join clicked
        on campaign_days.report_date = clicked.report_date and campaign_days.campaign_id = clicked.campaign_id
    left join converted
        on campaign_days.report_date = converted.report_date and campaign_days.campaign_id = converted.campaign_id
)

select
    cast(figures.campaign_id as string) as campaign_id,
    cast(campaigns.name as string) as campaign_name,
    cast(figures.advertiser_id as string) as advertiser_id,
    cast(advertisers.name as string) as advertiser_name,
    cast(figures.currency as string) as currency,
    {%- for suffix in traffics %}
    cast(figures.impressions{{ suffix }} as bigint) as impressions{{ suffix }},
    cast(figures.viewable{{ suffix }} as bigint) as viewable{{ suffix }},
    cast(figures.clicks{{ suffix }} as bigint) as clicks{{ suffix }},
    cast(figures.spend{{ suffix }} as bigint) as spend_micros{{ suffix }},
    {{ ratio('figures.clicks' ~ suffix, 'figures.impressions' ~ suffix) }} as ctr{{ suffix }},
    {{ micros_per('1000 * figures.spend' ~ suffix, 'figures.impressions' ~ suffix) }} as cpm_micros{{ suffix }},
    {{ micros_per('figures.spend' ~ suffix, 'figures.clicks' ~ suffix) }} as cpc_micros{{ suffix }},
    {%- for model in models %}
    {%- set name = model ~ suffix %}
    {{ billionths_as_decimal('figures.credits_' ~ name) }} as conversions_{{ name }},
    cast(figures.revenue_{{ name }} as bigint) as revenue_micros_{{ name }},
    {{ ratio('figures.credits_' ~ name, '1000000000 * figures.clicks' ~ suffix) }} as cvr_{{ name }},
    {{ micros_per('1e9 * figures.spend' ~ suffix, 'figures.credits_' ~ name) }} as cpa_micros_{{ name }},
    {{ ratio('figures.revenue_' ~ name, 'figures.spend' ~ suffix) }} as roas_{{ name }},
    {%- endfor %}
    {%- endfor %}
    cast(figures.report_date as date) as report_date
from figures
left join campaigns
    on figures.campaign_id = campaigns.campaign_id and campaigns.is_newest
left join advertisers
    on figures.advertiser_id = advertisers.advertiser_id and advertisers.is_newest
