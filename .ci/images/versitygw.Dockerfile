FROM scratch
COPY versitygw /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/versitygw"]
