-- A campaign that changes its advertiser in the middle of a report day would mix two currencies in one row.
{{ config(severity='warn') }}

select
    report_date,
    campaign_id,
    count(distinct currency) as currencies
from (
    select
        report_date,
        campaign_id,
        currency
    from {{ ref('impressions') }}
    union all
    select
        report_date,
        campaign_id,
        currency
    from {{ ref('clicks') }}
    union all
    select
        report_date,
        campaign_id,
        currency
    from {{ ref('credits') }}
) as events
where campaign_id is not null
group by report_date, campaign_id
having count(distinct currency) > 1
