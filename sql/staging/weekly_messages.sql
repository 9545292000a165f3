-- The weekly documents: what a user wrote in a week, cleaned, in order of (created_at, id).
-- Which messages are superseded is known only when all were read; by then they wait in their documents, and are taken
-- out. So that both can be told in one reading.
-- in: message_records, duplicate_messages    grain: user, week
SELECT CAST(user_week >> 32 AS INT) AS user_id, user_week & 4294967295 AS week,
       document['clean_body'] AS clean_body, document['clean_link_desc'] AS clean_link_desc,
       document['messages'] AS messages
FROM (
    SELECT user_week, weekly_document(created_at, id, body, link_description, superseded) AS document
    FROM (
        SELECT pair(user_id, CAST(week AS INT)) AS user_week, created_at, id, body, link_description, false AS superseded
        FROM message_records
        WHERE left_out IS NULL AND week BETWEEN 1 AND 27
        UNION ALL
        SELECT pair(user_id, CAST(week AS INT)), created_at, id, NULL, NULL, superseded
        FROM duplicate_messages
        WHERE superseded AND week BETWEEN 1 AND 27
    )
    GROUP BY user_week
)
WHERE document IS NOT NULL
