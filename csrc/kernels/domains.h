/* The domains of registry/domains.def as functions that return whether an element lies outside. */
#ifndef FL_DOMAINS_H
#define FL_DOMAINS_H

#include "kernels/real.h"

#define DOMAIN(name, violation, requirement)                     \
    static FL_INLINE int domain_##name(real y, real p, params c) \
    {                                                            \
        (void)y, (void)p, (void)c;                               \
        return violation;                                        \
    }
#include "registry/domains.def"
#undef DOMAIN

#endif
