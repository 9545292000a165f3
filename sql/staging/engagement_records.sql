-- Every record of the four engagement sources, with the reason for which it is left out of the closest
-- connections, or null. `source` is 0 follow, 1 reply, 2 mention, 3 like. `weight` is in seconds: the lookback
-- less the age, so that sums of weights are exact.
-- The few suspended users are the side that a join keeps in memory; the records stream past them.
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
           WHEN records.reason IS NOT NULL THEN records.reason
           WHEN records.happened_at > $as_of THEN 'after_as_of'
           WHEN records.happened_at <= $as_of - $lookback_seconds THEN 'before_window'
           WHEN records.user_id = records.engaged_with_user_id THEN 'self'
           WHEN suspended_user.user_id IS NOT NULL OR suspended_other.user_id IS NOT NULL THEN 'suspended'
       END AS left_out,
       records.file, records.line, records.raw
FROM suspended_users AS suspended_other
RIGHT JOIN (
    suspended_users AS suspended_user RIGHT JOIN records ON suspended_user.user_id = records.user_id
) ON suspended_other.user_id = records.engaged_with_user_id
