-- How many engagements of each source count, and how many records say so.
-- in: engagements    grain: source    key: source    invariant: records >= engagements > 0
SELECT source, count(*) AS engagements, CAST(sum(records) AS BIGINT) AS records
FROM engagements
GROUP BY source
