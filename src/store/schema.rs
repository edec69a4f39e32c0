// @generated automatically by Diesel CLI.

pub mod sql_types {
    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "halfvec"))]
    pub struct Halfvec;

    #[derive(diesel::query_builder::QueryId, Clone, diesel::sql_types::SqlType)]
    #[diesel(postgres_type(name = "tsvector", schema = "pg_catalog"))]
    pub struct Tsvector;
}

diesel::table! {
    use diesel::sql_types::*;

    api_keys (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        name -> Text,
        scopes -> Array<Nullable<Text>>,
        key_hash -> Bytea,
        hint -> Text,
        previous_hash -> Nullable<Bytea>,
        previous_until -> Nullable<Timestamptz>,
        requests_per_minute -> Nullable<Int4>,
        tokens_per_minute -> Nullable<Int4>,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    approvals (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        turn_id -> Uuid,
        call_id -> Text,
        tool -> Text,
        arguments -> Text,
        signature -> Nullable<Text>,
        state -> Text,
        created_at -> Timestamptz,
        decided_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    assistant_versions (tenant_id, assistant_id, number) {
        tenant_id -> Uuid,
        assistant_id -> Uuid,
        number -> Int4,
        body -> Jsonb,
        user_id -> Nullable<Uuid>,
        note -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    assistants (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        slug -> Text,
        name -> Text,
        description -> Text,
        greeting -> Text,
        instructions -> Text,
        model -> Nullable<Text>,
        created_at -> Timestamptz,
        temperature -> Nullable<Float4>,
        language -> Nullable<Text>,
        collections -> Array<Nullable<Text>>,
        tools -> Array<Nullable<Text>>,
        draft -> Jsonb,
        revision -> Int4,
        version -> Nullable<Int4>,
        archived_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    audit_log (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        actor -> Text,
        action -> Text,
        detail -> Jsonb,
        request_id -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Tsvector;

    chunks (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        document_id -> Uuid,
        seq -> Int4,
        page -> Int4,
        page_end -> Int4,
        tokens -> Int4,
        content -> Text,
        tsv -> Nullable<Tsvector>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    citations (tenant_id, turn_id, index) {
        tenant_id -> Uuid,
        turn_id -> Uuid,
        index -> Int4,
        document_id -> Uuid,
        file_name -> Text,
        page -> Int4,
        page_end -> Int4,
        snippet -> Text,
        score -> Float4,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    common_words (tenant_id, word) {
        tenant_id -> Uuid,
        word -> Int8,
        chunks -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    conversations (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        assistant_id -> Uuid,
        title -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        leaf_id -> Nullable<Uuid>,
        kind -> Text,
        client_id -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    document_blobs (tenant_id, document_id, seq) {
        tenant_id -> Uuid,
        document_id -> Uuid,
        seq -> Int4,
        data -> Bytea,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    document_pages (tenant_id, document_id, page) {
        tenant_id -> Uuid,
        document_id -> Uuid,
        page -> Int4,
        content -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    documents (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        name -> Text,
        media_type -> Text,
        bytes -> Int8,
        sha256 -> Bytea,
        status -> Text,
        stage -> Text,
        progress -> Float4,
        pages -> Nullable<Int4>,
        chunks -> Nullable<Int4>,
        error_code -> Nullable<Text>,
        error_message -> Nullable<Text>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        collection -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    embedding_models (id) {
        id -> Int4,
        name -> Text,
        dimensions -> Int4,
        provider -> Text,
        model -> Text,
        shortened -> Bool,
        batch_texts -> Int4,
        batch_tokens -> Int4,
        text_tokens -> Int4,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::sql_types::Halfvec;

    embeddings (tenant_id, model_id, chunk_id) {
        tenant_id -> Uuid,
        model_id -> Int4,
        chunk_id -> Uuid,
        document_id -> Uuid,
        embedding -> Halfvec,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    export_cursors (exporter) {
        exporter -> Text,
        ledger_seq -> Int8,
        doubt_seq -> Nullable<Int8>,
        doubt_since -> Nullable<Timestamptz>,
        lease_owner -> Nullable<Uuid>,
        lease_until -> Timestamptz,
        failures -> Int4,
        not_before -> Timestamptz,
        disabled -> Bool,
        last_error -> Nullable<Text>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    export_customers (tenant_id, exporter) {
        tenant_id -> Uuid,
        exporter -> Text,
        external_id -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    export_parked (exporter, ledger_seq) {
        exporter -> Text,
        ledger_seq -> Int8,
        event_id -> Uuid,
        attempts -> Int4,
        error -> Text,
        parked_at -> Timestamptz,
        retry -> Bool,
        doubt_since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    filters (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        name -> Text,
        stage -> Text,
        pattern -> Text,
        action -> Text,
        text -> Text,
        assistant_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    jobs (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        kind -> Text,
        document_id -> Uuid,
        state -> Text,
        attempts -> Int4,
        max_attempts -> Int4,
        run_at -> Timestamptz,
        owner -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        last_error -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    ledger_batches (id) {
        id -> Int8,
        tenant_id -> Uuid,
        month -> Date,
        event_ids -> Array<Nullable<Uuid>>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    ledger_heads (tenant_id) {
        tenant_id -> Uuid,
        tenant_seq -> Int8,
        hash -> Bytea,
        base_seq -> Int8,
        base_hash -> Bytea,
        base_stored_bytes -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    ledger_seals (tenant_id, tenant_seq, month) {
        tenant_id -> Uuid,
        tenant_seq -> Int8,
        month -> Date,
        event_id -> Uuid,
        ledger_seq -> Int8,
        day -> Date,
        hash -> Bytea,
        sealed_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    login_codes (tenant_id, email) {
        tenant_id -> Uuid,
        email -> Text,
        code_hash -> Nullable<Bytea>,
        attempts -> Int4,
        expires_at -> Timestamptz,
        failures -> Int4,
        failures_day -> Date,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    messages (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        parent_id -> Nullable<Uuid>,
        turn_id -> Uuid,
        role -> Text,
        status -> Text,
        content -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    models (id) {
        id -> Text,
        provider -> Text,
        name -> Text,
        context_window -> Int4,
        max_output -> Int4,
        tools -> Bool,
        images -> Bool,
        json_schema -> Bool,
        reasoning -> Bool,
        enabled -> Bool,
        connect_ms -> Int4,
        first_token_ms -> Int4,
        idle_ms -> Int4,
        total_ms -> Int4,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    nodes (id) {
        id -> Uuid,
        lease_until -> Timestamptz,
        started_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    operator_log (id) {
        id -> Uuid,
        actor -> Text,
        action -> Text,
        detail -> Jsonb,
        request_id -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    outbox (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        seq -> Nullable<Int8>,
        #[sql_name = "type"]
        type_ -> Text,
        data -> Jsonb,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    plan_models (plan) {
        plan -> Text,
        models -> Array<Nullable<Text>>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    plan_quotas (plan, scope, period, meter) {
        plan -> Text,
        scope -> Text,
        period -> Text,
        meter -> Text,
        max_amount -> Int8,
        hard -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    plans (name) {
        name -> Text,
        tenant_requests_per_minute -> Int4,
        user_requests_per_minute -> Int4,
        tenant_tokens_per_minute -> Int4,
        user_tokens_per_minute -> Int4,
        tenant_concurrent_turns -> Int4,
        user_concurrent_turns -> Int4,
        counter_slices -> Int2,
        version -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    prices (version) {
        version -> Text,
        model -> Text,
        valid_from -> Timestamptz,
        input -> Int8,
        cached_input -> Nullable<Int8>,
        output -> Int8,
        reasoning -> Nullable<Int8>,
        request -> Nullable<Int8>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    provider_keys (tenant_id, provider) {
        tenant_id -> Uuid,
        provider -> Text,
        sealed -> Bytea,
        last_four -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    providers (name) {
        name -> Text,
        kind -> Text,
        base_url -> Nullable<Text>,
        key_variable -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    quota_alerts (tenant_id, scope, scope_id, period, period_start, meter, percent) {
        tenant_id -> Uuid,
        scope -> Text,
        scope_id -> Uuid,
        period -> Text,
        period_start -> Timestamptz,
        meter -> Text,
        percent -> Int2,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    quota_counters (tenant_id, scope, scope_id, period, period_start, slice) {
        tenant_id -> Uuid,
        scope -> Text,
        scope_id -> Uuid,
        period -> Text,
        period_start -> Timestamptz,
        slice -> Int2,
        period_end -> Timestamptz,
        closed_at -> Nullable<Timestamptz>,
        limits -> Text,
        requests_share -> Nullable<Int8>,
        requests_used -> Int8,
        requests_reserved -> Int8,
        tokens_share -> Nullable<Int8>,
        tokens_used -> Int8,
        tokens_reserved -> Int8,
        cost_share -> Nullable<Int8>,
        cost_used -> Int8,
        cost_reserved -> Int8,
        pages_used -> Int8,
        stored_bytes_used -> Int8,
        requests_max -> Nullable<Int8>,
        tokens_max -> Nullable<Int8>,
        cost_max -> Nullable<Int8>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    quota_overrides (tenant_id, scope, scope_id, period, meter) {
        tenant_id -> Uuid,
        scope -> Text,
        scope_id -> Uuid,
        period -> Text,
        meter -> Text,
        max_amount -> Nullable<Int8>,
        hard -> Bool,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    quota_topups (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        scope -> Text,
        scope_id -> Uuid,
        period -> Text,
        period_start -> Timestamptz,
        meter -> Text,
        amount -> Int8,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    refresh_tokens (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        family_id -> Uuid,
        token_hash -> Bytea,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    reservations (tenant_id, turn_id) {
        tenant_id -> Uuid,
        turn_id -> Uuid,
        user_id -> Uuid,
        assistant_id -> Nullable<Uuid>,
        month_start -> Timestamptz,
        day_start -> Timestamptz,
        slice -> Int2,
        requests -> Int8,
        tokens -> Int8,
        cost_nano_usd -> Int8,
        price_version -> Nullable<Text>,
        embedding_price_version -> Nullable<Text>,
        over_quota -> Bool,
        state -> Text,
        owner -> Uuid,
        expires_at -> Timestamptz,
        created_at -> Timestamptz,
        quoted -> Jsonb,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    routes (name) {
        name -> Text,
        models -> Array<Nullable<Text>>,
        weights -> Nullable<Array<Nullable<Int4>>>,
        after_cut -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    summaries (tenant_id, message_id) {
        tenant_id -> Uuid,
        message_id -> Uuid,
        content -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenant_embeddings (tenant_id) {
        tenant_id -> Uuid,
        model_id -> Int4,
        next_model_id -> Nullable<Int4>,
        old_model_id -> Nullable<Int4>,
        changed_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenant_models (tenant_id) {
        tenant_id -> Uuid,
        models -> Array<Nullable<Text>>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenant_prices (tenant_id, version) {
        tenant_id -> Uuid,
        version -> Text,
        model -> Text,
        valid_from -> Timestamptz,
        input -> Int8,
        cached_input -> Nullable<Int8>,
        output -> Int8,
        reasoning -> Nullable<Int8>,
        request -> Nullable<Int8>,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenant_routes (tenant_id, name) {
        tenant_id -> Uuid,
        name -> Text,
        models -> Array<Nullable<Text>>,
        weights -> Nullable<Array<Nullable<Int4>>>,
        after_cut -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenant_tools (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        name -> Text,
        description -> Text,
        parameters -> Jsonb,
        method -> Text,
        url -> Text,
        header_names -> Array<Nullable<Text>>,
        headers -> Nullable<Bytea>,
        needs_approval -> Bool,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenant_words (tenant_id) {
        tenant_id -> Uuid,
        chunks -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    tenants (tenant_id) {
        tenant_id -> Uuid,
        slug -> Text,
        name -> Text,
        plan -> Text,
        allow_signup -> Bool,
        created_at -> Timestamptz,
        time_zone -> Text,
        quota_version -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    turn_segments (tenant_id, turn_id, first_offset) {
        tenant_id -> Uuid,
        turn_id -> Uuid,
        first_offset -> Int4,
        parts -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    turns (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        conversation_id -> Uuid,
        user_id -> Uuid,
        answer_id -> Uuid,
        state -> Text,
        idempotency_key -> Nullable<Text>,
        request_hash -> Bytea,
        provider -> Text,
        model -> Text,
        owner -> Uuid,
        stop_requested -> Bool,
        prompt_tokens -> Nullable<Int4>,
        error_code -> Nullable<Text>,
        first_token_ms -> Nullable<Int4>,
        latency_ms -> Nullable<Int4>,
        created_at -> Timestamptz,
        ended_at -> Nullable<Timestamptz>,
        question_id -> Uuid,
        steps -> Jsonb,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    usage_daily (tenant_id, day, user_id, assistant_id, model, meter) {
        tenant_id -> Uuid,
        day -> Date,
        user_id -> Uuid,
        assistant_id -> Uuid,
        model -> Text,
        meter -> Text,
        quantity -> Int8,
        unpriced -> Int8,
        cost_nano_usd -> Int8,
        events -> Int8,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    usage_ledger (tenant_id, event_id, month) {
        tenant_id -> Uuid,
        event_id -> Uuid,
        month -> Date,
        kind -> Text,
        user_id -> Nullable<Uuid>,
        assistant_id -> Nullable<Uuid>,
        turn_id -> Nullable<Uuid>,
        document_id -> Nullable<Uuid>,
        step -> Int2,
        meter -> Text,
        quantity -> Int8,
        provenance -> Text,
        model -> Nullable<Text>,
        price_version -> Nullable<Text>,
        cost_nano_usd -> Nullable<Int8>,
        period_start -> Timestamptz,
        day_start -> Timestamptz,
        occurred_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    users (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        email -> Text,
        name -> Text,
        role -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    use diesel::sql_types::*;

    ws_tickets (tenant_id, id) {
        tenant_id -> Uuid,
        id -> Uuid,
        user_id -> Uuid,
        ticket_hash -> Bytea,
        expires_at -> Timestamptz,
        api_key_id -> Nullable<Uuid>,
        stream_of -> Nullable<Uuid>,
    }
}

diesel::joinable!(assistants -> tenants (tenant_id));
diesel::joinable!(audit_log -> tenants (tenant_id));
diesel::joinable!(common_words -> tenants (tenant_id));
diesel::joinable!(documents -> tenants (tenant_id));
diesel::joinable!(embedding_models -> providers (provider));
diesel::joinable!(embeddings -> embedding_models (model_id));
diesel::joinable!(export_customers -> tenants (tenant_id));
diesel::joinable!(filters -> tenants (tenant_id));
diesel::joinable!(jobs -> tenants (tenant_id));
diesel::joinable!(ledger_heads -> tenants (tenant_id));
diesel::joinable!(login_codes -> tenants (tenant_id));
diesel::joinable!(models -> providers (provider));
diesel::joinable!(outbox -> tenants (tenant_id));
diesel::joinable!(plan_models -> plans (plan));
diesel::joinable!(plan_quotas -> plans (plan));
diesel::joinable!(provider_keys -> providers (provider));
diesel::joinable!(provider_keys -> tenants (tenant_id));
diesel::joinable!(quota_alerts -> tenants (tenant_id));
diesel::joinable!(quota_counters -> tenants (tenant_id));
diesel::joinable!(quota_overrides -> tenants (tenant_id));
diesel::joinable!(quota_topups -> tenants (tenant_id));
diesel::joinable!(tenant_embeddings -> tenants (tenant_id));
diesel::joinable!(tenant_models -> tenants (tenant_id));
diesel::joinable!(tenant_prices -> tenants (tenant_id));
diesel::joinable!(tenant_routes -> tenants (tenant_id));
diesel::joinable!(tenant_tools -> tenants (tenant_id));
diesel::joinable!(tenant_words -> tenants (tenant_id));
diesel::joinable!(tenants -> plans (plan));
diesel::joinable!(usage_daily -> tenants (tenant_id));
diesel::joinable!(usage_ledger -> tenants (tenant_id));
diesel::joinable!(users -> tenants (tenant_id));

diesel::allow_tables_to_appear_in_same_query!(
    api_keys,
    approvals,
    assistant_versions,
    assistants,
    audit_log,
    chunks,
    citations,
    common_words,
    conversations,
    document_blobs,
    document_pages,
    documents,
    embedding_models,
    embeddings,
    export_cursors,
    export_customers,
    export_parked,
    filters,
    jobs,
    ledger_batches,
    ledger_heads,
    ledger_seals,
    login_codes,
    messages,
    models,
    nodes,
    operator_log,
    outbox,
    plan_models,
    plan_quotas,
    plans,
    prices,
    provider_keys,
    providers,
    quota_alerts,
    quota_counters,
    quota_overrides,
    quota_topups,
    refresh_tokens,
    reservations,
    routes,
    summaries,
    tenant_embeddings,
    tenant_models,
    tenant_prices,
    tenant_routes,
    tenant_tools,
    tenant_words,
    tenants,
    turn_segments,
    turns,
    usage_daily,
    usage_ledger,
    users,
    ws_tickets,
);
