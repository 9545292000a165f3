-- What became of the records of the engagement sources: used, or left out by reason. Copies of an engagement are left out
-- as duplicates.
-- in: engagement_records, engagement_counts    grain: source, left_out    key: source, left_out
SELECT source, left_out, count(*) AS records
FROM engagement_records
WHERE left_out IS NOT NULL
GROUP BY source, left_out
UNION ALL
SELECT source, CAST(NULL AS VARCHAR), engagements
FROM engagement_counts
UNION ALL
SELECT source, 'duplicate', records - engagements
FROM engagement_counts
