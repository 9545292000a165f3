-- What became of the records of the messages: used, or left out by reason. A copy is a duplicate whatever its week.
-- in: message_records, message_counts    grain: source, left_out    key: source, left_out
SELECT 'message' AS source, left_out, count(*) AS records
FROM message_records
WHERE left_out IS NOT NULL
GROUP BY left_out
UNION ALL
SELECT 'message', CASE WHEN NOT in_weeks THEN 'outside_weeks' END, messages
FROM message_counts
UNION ALL
SELECT 'message', 'duplicate', CAST(coalesce(sum(records - messages), 0) AS BIGINT)
FROM message_counts
