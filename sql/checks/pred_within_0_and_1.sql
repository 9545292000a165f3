-- severity: error
-- Every reputation lies from 0 to 1.
SELECT sum(CASE WHEN pred >= 0 AND pred <= 1 THEN 0 ELSE 1 END)
FROM reputation_scores -- not filtered by it: filters go by the files' statistics, which leave NaN out
