/* The core of fastloss: everything that Python calls. Cython reads this header alone; the units of the core
 * include those of api/ that they need. */
#ifndef FASTLOSS_H
#define FASTLOSS_H

#include "api/array.h"
#include "api/call.h"
#include "api/descent.h"
#include "api/kernel.h"
#include "api/levels.h"
#include "api/linear.h"
#include "api/matrix.h"
#include "api/pointwise.h"
#include "api/registry.h"
#include "api/result_pool.h"
#include "api/rows.h"
#include "api/sgd.h"
#include "api/status.h"
#include "api/threads.h"
#include "api/tile.h"

#endif
