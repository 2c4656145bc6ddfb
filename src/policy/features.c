#include "policy/features.h"

static const bool BUILT[FEATURE_COUNT] = {
#define X(name, built) [name] = (built),
    FEATURE_LIST(X)
#undef X
};

bool feature_available(enum feature feature)
{
    return BUILT[feature];
}
