-- severity: error
-- For every source the records read are the records used and those left out, reason by reason.
SELECT count(*)
FROM (SELECT source FROM accounts GROUP BY source
      HAVING sum(CASE fate WHEN 'read' THEN records ELSE 0 END)
          <> sum(CASE fate WHEN 'read' THEN 0 ELSE records END))
