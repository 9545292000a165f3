-- severity: error
-- Nobody is recommended without a reputation or with one under the threshold.
SELECT count(*)
FROM recommendations
LEFT JOIN reputation_scores ON recommendations.rec_id = reputation_scores.user_id
WHERE reputation_scores.pred IS NULL OR round(reputation_scores.pred * 1000000) < $min_pred
