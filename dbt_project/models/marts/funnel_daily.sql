{#- Gross and net of invalid traffic side by side: each figure is written once, for both suffixes. -#}
{%- set traffics = {'': 'true', '_net': 'ivt_reason is null'} -%}
{%- set steps = ['bids', 'wins', 'impressions', 'viewable', 'clicks', 'conversions'] -%}

with bid_requests as (
    select * from {{ lake_days(ref('bid_requests'), before=1, after=1) }}
),

impressions as (
    select * from {{ lake_days(ref('impressions'), before=1, after=1) }}
),

clicks as (
    select * from {{ lake_days(ref('clicks'), before=1, after=1) }}
),

conversions as (
    select * from {{ lake_days(ref('conversions'), before=1, after=1) }}
),

campaigns as (
    select * from {{ lake_all(ref('campaigns')) }}
),

{%- set steps_of = {
    'bid_requests': {'bids': 'has_bid', 'wins': 'won'},
    'impressions': {'impressions': 'true', 'viewable': 'viewable'},
    'clicks': {'clicks': 'true'},
    'conversions': {'conversions': 'counted'},
} %}

counted as (
    {%- for table, found in steps_of.items() %}
    select
        report_date,
        {%- for step in steps %}
        {%- for suffix, included in traffics.items() %}
        {{ count_where(found.get(step, 'false') ~ ' and ' ~ included) }} as {{ step }}{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        {{ known_campaign('campaign_id') }} as campaign_id
    from {{ table }}
    group by report_date, {{ known_campaign('campaign_id') }}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- endfor %}
),

summed as (
    select
        report_date,
        {%- for step in steps %}
        {%- for suffix in traffics %}
        sum({{ step }}{{ suffix }}) as {{ step }}{{ suffix }},
        {%- endfor %}
        {%- endfor %}
        campaign_id
    from counted
    group by report_date, campaign_id
)

select
    cast(summed.campaign_id as string) as campaign_id,
    cast(campaigns.name as string) as campaign_name,
    {%- for suffix in traffics %}
    {%- for step in steps %}
    cast(summed.{{ step }}{{ suffix }} as bigint) as {{ step }}{{ suffix }},
    {%- endfor %}
    {{ ratio('summed.wins' ~ suffix, 'summed.bids' ~ suffix) }} as win_rate{{ suffix }},
    {{ ratio('summed.impressions' ~ suffix, 'summed.wins' ~ suffix) }} as impression_rate{{ suffix }},
    {{ ratio('summed.viewable' ~ suffix, 'summed.impressions' ~ suffix) }} as viewable_rate{{ suffix }},
    {{ ratio('summed.clicks' ~ suffix, 'summed.impressions' ~ suffix) }} as click_rate{{ suffix }},
    {{ ratio('summed.conversions' ~ suffix, 'summed.clicks' ~ suffix) }} as conversion_rate{{ suffix }},
    {%- endfor %}
    cast(summed.report_date as date) as report_date
from summed
left join campaigns
    on summed.campaign_id = campaigns.campaign_id and campaigns.is_newest
