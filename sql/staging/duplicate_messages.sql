-- All messages whose id is not their own. Of each id the smallest by (created_at, user_id, body) counts: rank 1.
-- in: message_records, duplicate_ids    grain: record
SELECT id, created_at, user_id, body, week,
       row_number() OVER (PARTITION BY id ORDER BY created_at, user_id, body) AS rank
FROM duplicate_ids
RIGHT SEMI JOIN (SELECT * FROM message_records WHERE left_out IS NULL) AS message
  ON duplicate_ids.id = message.id
