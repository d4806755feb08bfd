FROM scratch AS directory
WORKDIR /alertmanager

FROM scratch
COPY --from=directory --chown=65534:65534 /alertmanager /alertmanager
COPY alertmanager /bin/
WORKDIR /alertmanager
USER 65534:65534
ENTRYPOINT ["/bin/alertmanager"]
