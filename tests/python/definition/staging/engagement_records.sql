-- Every record of the four engagement sources, with the reason for which it is left out, or null. Of several reasons it
-- is the first of this list. `happened_at` is in seconds since 1970 UTC.
-- in: raw.follows, raw.replies, raw.mentions, raw.likes, suspended_users    grain: record
-- invariant: file, line and raw are null unless the record cannot be read
WITH records AS (
    SELECT 'follow' AS source, user_id, engaged_with_user_id, CAST(NULL AS BIGINT) AS message_id,
           CAST(extract(epoch FROM "timestamp") AS BIGINT) AS happened_at, reason, file, line, raw
    FROM raw.follows
    UNION ALL
    SELECT 'reply', user_id, engaged_with_user_id, message_id,
           CAST(extract(epoch FROM "timestamp") AS BIGINT), reason, file, line, raw
    FROM raw.replies
    UNION ALL
    SELECT 'mention', user_id, engaged_with_user_id, message_id,
           CAST(extract(epoch FROM "timestamp") AS BIGINT), reason, file, line, raw
    FROM raw.mentions
    UNION ALL
    SELECT 'like', user_id, engaged_with_user_id, message_id,
           CAST(extract(epoch FROM "timestamp") AS BIGINT), reason, file, line, raw
    FROM raw.likes
)
SELECT records.source, records.user_id, records.engaged_with_user_id, records.message_id, records.happened_at,
       CASE
           WHEN records.reason IS NOT NULL THEN records.reason
           WHEN records.happened_at > $as_of THEN 'after_as_of'
           WHEN records.happened_at <= $as_of - $lookback_seconds THEN 'before_window'
           WHEN records.user_id = records.engaged_with_user_id THEN 'self'
           WHEN suspended.user_id IS NOT NULL OR other_suspended.user_id IS NOT NULL THEN 'suspended'
       END AS left_out,
       records.file, records.line, records.raw
FROM records
LEFT JOIN suspended_users AS suspended ON suspended.user_id = records.user_id
LEFT JOIN suspended_users AS other_suspended ON other_suspended.user_id = records.engaged_with_user_id
