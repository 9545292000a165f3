-- The ids that more than one message has.
-- in: message_records    grain: id
SELECT id
FROM message_records
WHERE left_out IS NULL
GROUP BY id
HAVING count(*) > 1
