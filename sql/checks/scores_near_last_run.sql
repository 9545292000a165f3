-- severity: warn
-- The mean reputation and the mean score of recommendations moved by no more than a quarter since the last run.
SELECT count(*)
FROM (SELECT 'pred' AS name, avg(pred) AS mean FROM reputation_scores
      UNION ALL SELECT 'score', avg(CAST(score AS DOUBLE)) FROM recommendations) AS now
JOIN previous_means ON now.name = previous_means.name
WHERE previous_means.mean > 0 AND abs(now.mean / previous_means.mean - 1) > 0.25
