-- Assistants that name a tool of their tenant go on without it.

DROP TABLE approvals;
DROP TABLE tenant_tools;
