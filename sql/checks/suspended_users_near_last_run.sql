-- severity: warn
-- Somebody is suspended, and neither more than twice nor less than half as many as in the run published before.
SELECT count(*)
FROM (SELECT "rows" AS suspended FROM counts WHERE name = 'suspended_users') AS now
LEFT JOIN (SELECT "rows" AS suspended FROM previous_counts WHERE name = 'suspended_users') AS before ON true
WHERE now.suspended = 0
   OR before.suspended > 0 AND (now.suspended > 2 * before.suspended OR 2 * now.suspended < before.suspended)
