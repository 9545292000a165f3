-- How many messages there are in the weeks, and how many outside, and how many records say so.
-- in: messages    grain: in the weeks or outside    key: in_weeks    invariant: records >= messages > 0
SELECT week BETWEEN 1 AND 27 AS in_weeks, count(*) AS messages, CAST(sum(records) AS BIGINT) AS records
FROM messages
GROUP BY week BETWEEN 1 AND 27
