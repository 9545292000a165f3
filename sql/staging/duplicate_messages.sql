-- All messages whose id is not their own. Of each id the smallest by (created_at, user_id, body) counts: rank 1. Of
-- several such, which differ in the link's description only, it is the one that sorts first when cleaned.
-- in: message_records, duplicate_ids    grain: record
SELECT id, created_at, user_id, body, link_description, week,
       row_number() OVER (PARTITION BY id ORDER BY created_at, user_id, body,
                                                   coalesce(clean_text(link_description), '')) AS rank
FROM duplicate_ids
RIGHT SEMI JOIN (SELECT * FROM message_records WHERE left_out IS NULL) AS message
  ON duplicate_ids.id = message.id
