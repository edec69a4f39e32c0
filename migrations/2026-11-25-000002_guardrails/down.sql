DROP TABLE summaries;
DROP TABLE filters;
