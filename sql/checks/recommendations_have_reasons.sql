-- severity: error
-- Every recommendation has a reason, and every reason belongs to a recommendation.
SELECT (SELECT count(*) FROM recommendations
        LEFT ANTI JOIN rec_reasons
          ON pair(recommendations.user_id, recommendations.rec_id) = pair(rec_reasons.user_id, rec_reasons.rec_id))
     + (SELECT count(*) FROM rec_reasons
        LEFT ANTI JOIN recommendations
          ON pair(rec_reasons.user_id, rec_reasons.rec_id) = pair(recommendations.user_id, recommendations.rec_id))
