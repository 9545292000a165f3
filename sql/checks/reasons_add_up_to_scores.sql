-- severity: error
-- The reasons' weights times the reputation add up to the score, but for the eighth place's rounding.
SELECT count(*)
FROM recommendations
JOIN (SELECT pair(user_id, rec_id) AS recommendation, sum(weight) AS weight, count(*) AS reasons
      FROM rec_reasons GROUP BY recommendation) AS reasons
  ON pair(recommendations.user_id, recommendations.rec_id) = reasons.recommendation
JOIN reputation_scores ON recommendations.rec_id = reputation_scores.user_id
WHERE abs(CAST(recommendations.score AS DOUBLE) - CAST(reasons.weight AS DOUBLE) * reputation_scores.pred)
      > 0.000000005 * (reasons.reasons + 1) + 0.000000000001 * CAST(recommendations.score AS DOUBLE)
