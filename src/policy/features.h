/*
 * What this version can do, one table. The policy file has words for all of pgcairn; a word whose
 * feature is not built is refused, so that nobody believes in something that does not run. An issue
 * that builds one changes its row here.
 */
#ifndef PGCAIRN_POLICY_FEATURES_H
#define PGCAIRN_POLICY_FEATURES_H

#include <stdbool.h>

/* X(enumerator, built) */
#define FEATURE_LIST(X)                                                     \
    X(FEATURE_CORE, true)     /* the file itself */                         \
    X(FEATURE_DUMP, true)     /* jobs of type dump */                       \
    X(FEATURE_VACUUM, true)   /* jobs of type vacuum */                     \
    X(FEATURE_PRUNE, true)    /* jobs of type prune */                      \
    X(FEATURE_WAL, true)      /* jobs of type wal */                        \
    X(FEATURE_SNAPSHOT, true) /* jobs of type snapshot */                   \
    X(FEATURE_VERIFY, true)   /* jobs of type verify, require_verified */   \
    X(FEATURE_DRILL, true)    /* jobs of type drill */                      \
    X(FEATURE_AUDIT, true)    /* jobs of type audit */                      \
    X(FEATURE_S3, true)       /* s3:// repositories */                      \
    X(FEATURE_NOTIFY, true)   /* telling people */                          \
    X(FEATURE_HOOKS, true)    /* programs run around a job */               \
    X(FEATURE_ORDER, true)    /* after, group: jobs that wait for others */ \
    X(FEATURE_DENY, true)     /* times at which a job must not run */

enum feature {
#define X(name, built) name,
    FEATURE_LIST(X)
#undef X
        FEATURE_COUNT,
};

bool feature_available(enum feature feature);

#endif
