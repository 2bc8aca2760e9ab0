//! One face for the ends of all channels, for threads that block and for tasks.

use crossfire::{AsyncRxTrait, AsyncTxTrait, BlockingRxTrait, BlockingTxTrait, mpmc};
use std::sync::mpsc as std_mpsc;
use tokio::sync::mpsc as tokio_mpsc;

/// The ends that threads use. `recv` gives `None` once the channel has ended.
pub trait BlockingSend: Send + 'static {
    fn send(&self, number: u64);
}
pub trait BlockingRecv: Send + 'static {
    fn recv(&mut self) -> Option<u64>;
}

/// The ends that tasks use.
pub trait AsyncSend: Send + Sync + 'static {
    fn send(&self, number: u64) -> impl Future<Output = ()> + Send;
}
pub trait AsyncRecv: Send + 'static {
    fn recv(&mut self) -> impl Future<Output = Option<u64>> + Send;
}

macro_rules! blocking_send {
    ($sender:ty, |$tx:ident, $number:ident| $send:expr) => {
        impl BlockingSend for $sender {
            #[inline]
            fn send(&self, $number: u64) {
                let $tx = self;
                $send.expect("a channel ended while its benchmark ran");
            }
        }
    };
}

macro_rules! blocking_recv {
    ($receiver:ty, |$rx:ident| $recv:expr) => {
        impl BlockingRecv for $receiver {
            #[inline]
            fn recv(&mut self) -> Option<u64> {
                let $rx = self;
                $recv
            }
        }
    };
}

macro_rules! async_send {
    ($sender:ty, |$tx:ident, $number:ident| $send:expr) => {
        impl AsyncSend for $sender {
            #[inline]
            async fn send(&self, $number: u64) {
                let $tx = self;
                $send.expect("a channel ended while its benchmark ran");
            }
        }
    };
}

macro_rules! async_recv {
    ($receiver:ty, |$rx:ident| $recv:expr) => {
        impl AsyncRecv for $receiver {
            #[inline]
            async fn recv(&mut self) -> Option<u64> {
                let $rx = self;
                $recv
            }
        }
    };
}

// The channels' own methods are named as the traits' are, hence in full.
blocking_send!(crossbeam_channel::Sender<u64>, |tx, number| tx.send(number));
blocking_recv!(crossbeam_channel::Receiver<u64>, |rx| {
    crossbeam_channel::Receiver::recv(rx).ok()
});

blocking_send!(flume::Sender<u64>, |tx, number| flume::Sender::send(tx, number));
blocking_recv!(flume::Receiver<u64>, |rx| flume::Receiver::recv(rx).ok());
async_send!(flume::Sender<u64>, |tx, number| tx.send_async(number).await);
async_recv!(flume::Receiver<u64>, |rx| rx.recv_async().await.ok());

blocking_send!(kanal::Sender<u64>, |tx, number| kanal::Sender::send(tx, number));
blocking_recv!(kanal::Receiver<u64>, |rx| kanal::Receiver::recv(rx).ok());
async_send!(kanal::AsyncSender<u64>, |tx, number| kanal::AsyncSender::send(
    tx, number
)
.await);
async_recv!(kanal::AsyncReceiver<u64>, |rx| kanal::AsyncReceiver::recv(rx)
    .await
    .ok());

blocking_send!(std_mpsc::Sender<u64>, |tx, number| std_mpsc::Sender::send(tx, number));
blocking_send!(std_mpsc::SyncSender<u64>, |tx, number| std_mpsc::SyncSender::send(
    tx, number
));
blocking_recv!(std_mpsc::Receiver<u64>, |rx| std_mpsc::Receiver::recv(rx).ok());

blocking_send!(tokio_mpsc::Sender<u64>, |tx, number| tx.blocking_send(number));
blocking_send!(tokio_mpsc::UnboundedSender<u64>, |tx, number| {
    tokio_mpsc::UnboundedSender::send(tx, number)
});
blocking_recv!(tokio_mpsc::Receiver<u64>, |rx| rx.blocking_recv());
blocking_recv!(tokio_mpsc::UnboundedReceiver<u64>, |rx| rx.blocking_recv());
async_send!(tokio_mpsc::Sender<u64>, |tx, number| tokio_mpsc::Sender::send(
    tx, number
)
.await);
async_send!(tokio_mpsc::UnboundedSender<u64>, |tx, number| {
    tokio_mpsc::UnboundedSender::send(tx, number)
});
async_recv!(tokio_mpsc::Receiver<u64>, |rx| tokio_mpsc::Receiver::recv(rx).await);
async_recv!(tokio_mpsc::UnboundedReceiver<u64>, |rx| {
    tokio_mpsc::UnboundedReceiver::recv(rx).await
});

blocking_send!(crossfire::MTx<mpmc::Array<u64>>, |tx, number| BlockingTxTrait::send(
    tx, number
));
blocking_send!(crossfire::MTx<mpmc::List<u64>>, |tx, number| BlockingTxTrait::send(
    tx, number
));
blocking_recv!(crossfire::MRx<mpmc::Array<u64>>, |rx| BlockingRxTrait::recv(rx).ok());
blocking_recv!(crossfire::MRx<mpmc::List<u64>>, |rx| BlockingRxTrait::recv(rx).ok());
async_send!(crossfire::MAsyncTx<mpmc::Array<u64>>, |tx, number| AsyncTxTrait::send(
    tx, number
)
.await);
async_send!(crossfire::MTx<mpmc::List<u64>>, |tx, number| BlockingTxTrait::send(
    tx, number
)); // never waits
async_recv!(crossfire::MAsyncRx<mpmc::Array<u64>>, |rx| AsyncRxTrait::recv(rx)
    .await
    .ok());
async_recv!(crossfire::MAsyncRx<mpmc::List<u64>>, |rx| AsyncRxTrait::recv(rx)
    .await
    .ok());

async_send!(tachyonix::Sender<u64>, |tx, number| tachyonix::Sender::send(tx, number)
    .await);
async_recv!(tachyonix::Receiver<u64>, |rx| tachyonix::Receiver::recv(rx).await.ok());
