-- Every record of the four engagement sources, with the reason for which it is left out of the closest
-- connections, or null. `source` is 0 follow, 1 reply, 2 mention, 3 like. `weight` is in seconds: the lookback
-- less the age, so that sums of weights are exact.
-- The few suspended users are one value in which both users of a record are looked up: nothing is joined.
-- in: raw.follows, raw.replies, raw.mentions, raw.likes, suspended_users    grain: record
WITH records AS (
    SELECT CAST(0 AS TINYINT) AS source, user_id, engaged_with_user_id, CAST(0 AS BIGINT) AS message_id,
           CAST("timestamp" AS BIGINT) AS happened_at, reason, file, line, raw
    FROM raw.follows
    UNION ALL
    SELECT CAST(1 AS TINYINT), user_id, engaged_with_user_id, message_id,
           CAST("timestamp" AS BIGINT), reason, file, line, raw
    FROM raw.replies
    UNION ALL
    SELECT CAST(2 AS TINYINT), user_id, engaged_with_user_id, message_id,
           CAST("timestamp" AS BIGINT), reason, file, line, raw
    FROM raw.mentions
    UNION ALL
    SELECT CAST(3 AS TINYINT), user_id, engaged_with_user_id, message_id,
           CAST("timestamp" AS BIGINT), reason, file, line, raw
    FROM raw.likes
)
SELECT records.source, records.user_id, records.engaged_with_user_id, records.message_id, records.happened_at,
       $lookback_seconds - ($as_of - records.happened_at) AS weight,
       CASE
           -- Nearly all count: what is left for the questions after this one is little.
           WHEN records.reason IS NULL AND records.happened_at <= $as_of
            AND records.happened_at > $as_of - $lookback_seconds AND records.user_id <> records.engaged_with_user_id
            AND mapped(suspended.users, records.user_id) IS NULL
            AND mapped(suspended.users, records.engaged_with_user_id) IS NULL THEN CAST(NULL AS TEXT)
           WHEN records.reason IS NOT NULL THEN records.reason
           WHEN records.happened_at > $as_of THEN 'after_as_of'
           WHEN records.happened_at <= $as_of - $lookback_seconds THEN 'before_window'
           WHEN records.user_id = records.engaged_with_user_id THEN 'self'
           ELSE 'suspended'
       END AS left_out,
       records.file, records.line, records.raw
FROM (SELECT id_map(user_id, 1) AS users FROM suspended_users) AS suspended
CROSS JOIN records
