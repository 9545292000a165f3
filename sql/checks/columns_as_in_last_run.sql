-- severity: warn
-- The records of every CSV source have as many columns as in the run published before.
SELECT count(*)
FROM counts
JOIN previous_counts ON counts.name = previous_counts.name
WHERE counts.name LIKE 'columns_%' AND counts."rows" <> previous_counts."rows"
