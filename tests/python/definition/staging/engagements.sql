-- The engagements that count, each once, with the number of records that say the same. `weight` is in seconds: the
-- lookback less the age, so that sums of weights are exact.
-- in: engagement_records    grain: source, user, other user, message, time
-- invariant: 0 < weight <= $lookback_seconds; records >= 1
SELECT source, user_id, engaged_with_user_id, message_id, happened_at,
       $lookback_seconds - ($as_of - happened_at) AS weight, count(*) AS records
FROM engagement_records
WHERE left_out IS NULL
GROUP BY source, user_id, engaged_with_user_id, message_id, happened_at
