-- The records that cannot be read.
-- in: engagement_records, raw.users, message_records    grain: record    invariant: no column is null
SELECT source, file, line, left_out AS reason, raw
FROM engagement_records
WHERE line IS NOT NULL
UNION ALL
SELECT 'user', file, line, reason, raw
FROM raw.users
WHERE line IS NOT NULL
UNION ALL
SELECT 'message', file, line, left_out, raw
FROM message_records
WHERE line IS NOT NULL
