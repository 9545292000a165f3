-- How many engagements of each source count, identical copies still in.
-- in: engagements    grain: source
SELECT CASE source WHEN 0 THEN 'follow' WHEN 1 THEN 'reply' WHEN 2 THEN 'mention' ELSE 'like' END AS source,
       CAST(NULL AS TEXT) AS left_out, records
FROM (SELECT source, count(*) AS records FROM engagements GROUP BY source)
