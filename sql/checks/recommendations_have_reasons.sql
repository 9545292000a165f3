-- severity: error
-- Every recommendation has a reason, and every reason belongs to a recommendation.
SELECT (SELECT count(*) FROM recommendations
        LEFT ANTI JOIN rec_reasons
          ON recommendations.user_id = rec_reasons.user_id AND recommendations.rec_id = rec_reasons.rec_id)
     + (SELECT count(*) FROM rec_reasons
        LEFT ANTI JOIN recommendations
          ON rec_reasons.user_id = recommendations.user_id AND rec_reasons.rec_id = recommendations.rec_id)
