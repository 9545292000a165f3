-- The messages: of several records with one id the smallest by (created_at, user_id, body) counts, and of several such
-- the one with the smallest description when cleaned. `records` says how many there were.
-- in: message_records    grain: message    key: id
SELECT id, user_id, created_at, week, body, link_description, recommended, records
FROM (
    SELECT id, user_id, created_at, week, body, link_description, recommended,
           count(*) OVER (PARTITION BY id) AS records,
           row_number() OVER (PARTITION BY id
                              ORDER BY created_at, user_id, body, clean_text(link_description)) AS place
    FROM message_records
    WHERE left_out IS NULL
)
WHERE place = 1
