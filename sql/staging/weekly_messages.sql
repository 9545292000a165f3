-- The weekly documents: what a user wrote in a week, cleaned, in order of (created_at, id).
-- in: message_records, duplicate_messages    grain: user, week
SELECT user_id, week, document['clean_body'] AS clean_body, document['clean_link_desc'] AS clean_link_desc,
       document['messages'] AS messages
FROM (
    SELECT message.user_id, message.week,
           weekly_document(message.created_at, message.id,
                           clean_text(message.body), clean_text(message.link_description)) AS document
    FROM (SELECT * FROM duplicate_messages WHERE rank = 1) AS kept
    RIGHT JOIN message_records AS message ON kept.id = message.id
    WHERE message.left_out IS NULL
      AND message.week BETWEEN 1 AND 27
      AND (kept.id IS NULL
           OR (message.created_at = kept.created_at AND message.user_id = kept.user_id AND message.body = kept.body))
    GROUP BY message.user_id, message.week
)
