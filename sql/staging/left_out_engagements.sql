-- How many records of each engagement source are left out, by reason. Copies of identical engagements are not known here:
-- the aggregation that drops them counts them.
-- in: engagement_records    grain: source, left_out
SELECT CASE source WHEN 0 THEN 'follow' WHEN 1 THEN 'reply' WHEN 2 THEN 'mention' ELSE 'like' END AS source,
       left_out, records
FROM (
    SELECT source, left_out, count(*) AS records
    FROM engagement_records
    WHERE left_out IS NOT NULL
    GROUP BY source, left_out
)
