-- The weekly documents: what a user wrote in a week, cleaned, in order of (created_at, id).
-- in: message_records, duplicate_ids, duplicate_messages    grain: user, week
SELECT user_id, week, document['clean_body'] AS clean_body, document['clean_link_desc'] AS clean_link_desc,
       document['messages'] AS messages
FROM (
    SELECT user_id, week,
           weekly_document(created_at, id, clean_text(body), clean_text(link_description)) AS document
    FROM (
        SELECT message.user_id, message.week, message.created_at, message.id, message.body, message.link_description
        FROM duplicate_ids
        RIGHT ANTI JOIN (SELECT * FROM message_records WHERE left_out IS NULL) AS message
          ON duplicate_ids.id = message.id
        UNION ALL
        SELECT user_id, week, created_at, id, body, link_description FROM duplicate_messages WHERE rank = 1
    )
    WHERE week BETWEEN 1 AND 27
    GROUP BY user_id, week
)
