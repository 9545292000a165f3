SHOW transaction_isolation;
SELECT typinput, oid FROM pg_type WHERE typname = 'lo';
SELECT c.relname, a.attname, a.attnum, t.typname, CASE WHEN i.indisprimary = 't' THEN 1 ELSE 0 END AS first, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attnum > 0
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisunique = 'f'
WHERE c.relname LIKE 'rec%' ORDER BY c.relname, a.attnum;
SELECT * FROM recommendations LIMIT 0;
SELECT count(*) FROM pg_catalog.pg_class WHERE relname LIKE 'rec!_%' ESCAPE '!';
