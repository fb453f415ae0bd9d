{#
  What an event's campaign says about it. Belongs here: the way from a campaign id to advertiser, windows, time zone,
  report day and currency. Not here: how an event gets its campaign id.
#}

{#-
  CTEs that lead from `in_campaign` (events with event_ts and campaign_id) to `in_report`, which adds: advertiser_id,
  click_window_days, view_window_days and counting of the campaign valid at the event; time_zone of its advertiser
  valid at the event (unknown: UTC); report_date, the event's day in that zone; currency of the advertiser as valid
  at the beginning of the report day (00:00 UTC), so that one report day has one currency (when none is valid then,
  that valid at the event; unknown: USD).
  Needs the CTEs `campaigns` and `advertisers`.
-#}
{% macro campaign_context() -%}
in_zone as (
    select
        in_campaign.*,
        campaigns.advertiser_id,
        coalesce(campaigns.click_window_days, {{ default_window_days('click') }}) as click_window_days,
        coalesce(campaigns.view_window_days, {{ default_window_days('view') }}) as view_window_days,
        coalesce(campaigns.counting, 'every') as counting,
        coalesce(advertisers.time_zone, 'UTC') as time_zone,
        advertisers.currency as currency_at_event,
        {{ local_day('in_campaign.event_ts', "coalesce(advertisers.time_zone, 'UTC')") }} as report_date
    from in_campaign
    left join campaigns
        on in_campaign.campaign_id = campaigns.campaign_id
        and {{ holds_at('campaigns', 'in_campaign.event_ts') }}
    left join advertisers
        on campaigns.advertiser_id = advertisers.advertiser_id
        and {{ holds_at('advertisers', 'in_campaign.event_ts') }}
),

in_report as (
    select
        in_zone.*,
        coalesce(advertisers.currency, in_zone.currency_at_event, 'USD') as currency,
        coalesce(
            {{ upper_code('in_zone.currency_code') }}, advertisers.currency, in_zone.currency_at_event, 'USD'
        ) as source_currency
    from in_zone
    left join advertisers
        on in_zone.advertiser_id = advertisers.advertiser_id
        and {{ holds_at('advertisers', 'cast(in_zone.report_date as ' ~ timestamp_type() ~ ')') }}
)
{%- endmacro %}

{#- Touches and conversions with the same owner may belong together: the advertiser, else the campaign itself. -#}
{% macro credit_owner(advertiser_id, campaign_id) -%}
    coalesce('advertiser ' || {{ advertiser_id }}, 'campaign ' || {{ campaign_id }})
{%- endmacro %}
