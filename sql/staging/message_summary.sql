-- How many messages are left out, by reason; unreadable ones one by one. Copies of one id still count as
-- messages here: duplicate_messages tells how many of them there are, in and outside of the weeks.
-- in: message_records    grain: source, left_out, unreadable record
SELECT 'message' AS source,
       coalesce(left_out, CASE WHEN week NOT BETWEEN 1 AND 27 THEN 'outside_weeks' END) AS left_out,
       file, line, raw, count(*) AS records
FROM message_records
GROUP BY 1, 2, 3, 4, 5
