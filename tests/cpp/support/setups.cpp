#include "support/setups.hpp"

namespace klaw_test {

template class SomeOp<ops::SendOp<int, ops::Mpmc<int>, ops::OneValue<int>>,
                      ops::SendOp<int, ops::MpmcCore<int>, ops::OneValue<int>>>;
template class SomeOp<ops::RecvOp<int, ops::Mpmc<int>>, ops::RecvOp<int, ops::MpmcCore<int>>>;
template class SomeHandle<SomeSender<int>, Local::Sender<int>, Any::Sender<int>>;
template class SomeHandle<SomeReceiver<int>, Local::Receiver<int>, Any::Receiver<int>>;
template class SomeSender<int>;
template class SomeReceiver<int>;
template SomePair<int> open_in<int>(FlavourKind, Capacity);

}  // namespace klaw_test
