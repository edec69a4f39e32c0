DROP TABLE operator_log, provider_keys, tenant_models, plan_models, tenant_routes, routes, models, providers;
