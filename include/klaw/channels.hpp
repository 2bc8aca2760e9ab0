// All of klaw channels.
#pragma once

#include <klaw/channels/broadcast.hpp>
#include <klaw/channels/factory.hpp>
#include <klaw/channels/local.hpp>
#include <klaw/channels/oneshot.hpp>
#include <klaw/channels/protocols.hpp>
#include <klaw/channels/select.hpp>
#include <klaw/channels/stats.hpp>
#include <klaw/channels/watch.hpp>
#include <klaw/errors.hpp>
#include <klaw/result.hpp>
#include <klaw/version.hpp>
