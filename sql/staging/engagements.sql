-- The engagements that count, identical copies still in.
-- in: engagement_records    grain: record    invariant: 0 < weight <= $lookback_seconds
SELECT source, user_id, engaged_with_user_id, message_id, happened_at, weight
FROM engagement_records
WHERE left_out IS NULL
