-- Every record of the messages, with the reason for which it is left out whatever the other messages are.
-- `week` counts from 1 at the anchor; days before it give numbers below 1.
-- in: raw.messages    grain: record
SELECT id, user_id, CAST(created_at AS BIGINT) AS created_at, body, link_description, recommended,
       CASE
           WHEN reason IS NOT NULL THEN reason
           WHEN CAST(created_at AS BIGINT) > $as_of THEN 'after_as_of'
       END AS left_out,
       week_of(CAST(created_at AS BIGINT), $anchor_day) AS week,
       file, line, raw
FROM raw.messages
