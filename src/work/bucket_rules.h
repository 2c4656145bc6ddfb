/* Lifecycle rules of a bucket, as the store tells them, as facts that verdicts read. */
#ifndef PGCAIRN_WORK_BUCKET_RULES_H
#define PGCAIRN_WORK_BUCKET_RULES_H

#include "facts/bucket.h"
#include "store/store.h"

/* Its texts are borrowed from the rule. */
static inline struct facts_rule bucket_rule(const struct store_rule *rule)
{
    return (struct facts_rule){.id = rule->id,
                               .prefix = rule->prefix,
                               .is_enabled = rule->enabled,
                               .is_filtered = rule->is_filtered,
                               .expire_days = rule->expire_days,
                               .noncurrent_days = rule->noncurrent_days,
                               .abort_days = rule->abort_days,
                               .transition_days = rule->transition_days,
                               .storage_class = rule->storage_class};
}

#endif
