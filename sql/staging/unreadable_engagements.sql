-- The records of the engagement sources that cannot be read, for the quarantine.
-- in: engagement_records    grain: record
SELECT CASE source WHEN 0 THEN 'follow' WHEN 1 THEN 'reply' WHEN 2 THEN 'mention' ELSE 'like' END AS source,
       left_out, file, line, raw
FROM engagement_records
WHERE line IS NOT NULL
