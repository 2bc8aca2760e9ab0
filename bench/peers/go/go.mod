module klaw/bench/peers

go 1.22
