-- The weekly documents: what a user wrote in a week, cleaned, in order of (created_at, id), one space between messages.
-- in: messages    grain: user, week    invariant: 1 <= week <= 27; messages >= 1
SELECT user_id, week,
       string_agg(clean_text(body), ' ' ORDER BY created_at, id) AS clean_body,
       string_agg(clean_text(link_description), ' ' ORDER BY created_at, id) AS clean_link_desc,
       count(*) AS messages
FROM messages
WHERE week BETWEEN 1 AND 27
GROUP BY user_id, week
