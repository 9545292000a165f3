-- Every record of the messages, with the reason for which it is left out whatever the other messages are, or null.
-- `created_at` is in seconds since 1970 UTC. `week` counts from 1 at the anchor; days before it give numbers below 1.
-- in: raw.messages    grain: record
-- invariant: file, line and raw are null unless the record cannot be read, and body and link_description only then
SELECT id, user_id, created_at, body, link_description, recommended,
       CASE
           WHEN reason IS NOT NULL THEN reason
           WHEN created_at > $as_of THEN 'after_as_of'
       END AS left_out,
       week_of(created_at, $anchor_day) AS week,
       file, line, raw
FROM (
    SELECT id, user_id, CAST(extract(epoch FROM created_at) AS BIGINT) AS created_at, body, link_description,
           recommended, reason, file, line, raw
    FROM raw.messages
)
