-- severity: warn
-- No table has more than twice or less than half the rows of the run published before.
SELECT count(*)
FROM written
JOIN previous_rows ON written.name = previous_rows.name
WHERE previous_rows.rows > 0
  AND (written.rows > 2 * previous_rows.rows OR 2 * written.rows < previous_rows.rows)
